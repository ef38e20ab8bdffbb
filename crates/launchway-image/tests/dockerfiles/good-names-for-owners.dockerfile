FROM rust AS build
FROM scratch
COPY rootfs/ /
COPY --chown=me:us --from=build /w/release/app /app/app
