import numpy as np, torch
def synth_clip(seed,index,seconds=4.0):
    r=np.random.default_rng([seed,index]); t=np.arange(int(seconds*16000))/16000
    return torch.from_numpy((.3*np.sin(2*np.pi*r.uniform(100,2000)*t)+.02*r.standard_normal(len(t))).astype('f4')),{}
