FROM rust AS build
FROM scratch
COPY rootfs/ /
