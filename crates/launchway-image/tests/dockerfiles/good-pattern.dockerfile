FROM rust AS build
FROM scratch
COPY rootfs/etc/* /etc/
COPY --from=build /w/release/app /app/app
