FROM rust AS build
FROM scratch
COPY rootfs/../../outside /x
COPY --from=build /w/release/app /app/app
