FROM rust AS build
FROM scratch
COPY rootfs/etc/passwd rootfs/etc/group /etc
COPY --from=build /w/release/app /app/app
