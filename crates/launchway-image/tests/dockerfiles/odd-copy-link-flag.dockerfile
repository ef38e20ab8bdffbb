FROM rust AS build
FROM scratch
COPY --link rootfs/ /
COPY --from=build /w/release/app /app/app
