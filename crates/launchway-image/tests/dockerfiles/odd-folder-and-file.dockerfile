FROM rust AS build
FROM scratch
COPY motd /etc
COPY rootfs/ /
COPY --from=build /w/release/app /app/app
