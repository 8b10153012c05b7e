def cases(): return []
def substitutes(): return ''
