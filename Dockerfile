# The program in an image, for the CPU:   docker build -t hires-nst .
# For NVIDIA GPUs:                        docker build --build-arg TORCH=cu130 -t hires-nst .
#
#   docker run --rm --volume "$PWD:/pictures" hires-nst stylize photo.jpg painting.jpg -o result.png
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
# One of PyTorch's builds: cpu, or a version of CUDA such as cu130.
ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
RUN pip install --index-url "https://download.pytorch.org/whl/${TORCH}" "torch>=2.11" "torchvision>=0.26"
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY hires_nst hires_nst
RUN pip install .

FROM python:${PYTHON}-slim
# /weights is for `hires-nst models fetch`: give it a volume to keep them.
RUN useradd --uid 1000 painter && install --directory --mode=1777 /pictures /weights
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH TORCH_HOME=/weights
USER 1000
WORKDIR /pictures
ENTRYPOINT ["hires-nst"]
CMD ["--help"]
