"""Packaging of mwmae: everything is read from settings.ini, so that a version or a pin stands once."""
import re
from configparser import ConfigParser
from pathlib import Path
from warnings import filterwarnings

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

STATUSES = {"1": "1 - Planning", "2": "2 - Pre-Alpha", "3": "3 - Alpha", "4": "4 - Beta", "5": "5 - Production/Stable"}
OLDEST, NEWEST = (int(settings[name].split(".")[1]) for name in ("min_python", "newest_python"))
EXTRAS = {name: settings[f"{name}_requirements"].split() for name in ("parquet", "remote", "transformers", "convert", "onnx")}



def long_description():
    "The README, with links that lead somewhere outside of the repository too."
    text, tag = Path("README.md").read_text(encoding="utf-8"), f"v{settings['version']}"
    text = re.sub(r"(!\[[^]]*\]\()(?!https?:|#)", rf"\1{settings['git_url']}/raw/{tag}/", text)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\1{settings['git_url']}/blob/{tag}/", text)


filterwarnings("ignore", "(?s).*Compat editable installs")

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    project_urls={
        "Documentation": settings["doc_host"] + settings["doc_baseurl"],
        "Changelog": f"{settings['git_url']}/blob/{settings['branch']}/CHANGELOG.md",
        "Issues": f"{settings['git_url']}/issues",
    },
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=settings["keywords"],
    classifiers=[
        f"Development Status :: {STATUSES[settings['status']]}",
        f"Intended Audience :: {settings['audience']}",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Typing :: Typed",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(OLDEST, NEWEST + 1)),
    ],
    packages=[*find_packages(include=[settings["lib_path"]]), f"{settings['lib_path']}.packaged"],  # a folder of data
    include_package_data=True,
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require={**EXTRAS, "dev": settings["dev_requirements"].split() + sum(EXTRAS.values(), [])},
    entry_points={
        "console_scripts": settings["console_scripts"].split(),
        "nbdev": [f"{settings['lib_path']}={settings['lib_path']}._modidx:d"],
    },
    # `pip install -e .` then writes a path, and not a finder that a folder called mwmae in your working folder hides.
    # setuptools would say at each such installation that this mode is to be replaced one day; see the filter above.
    options={"editable_wheel": {"mode": "compat"}},
    zip_safe=False,
)
