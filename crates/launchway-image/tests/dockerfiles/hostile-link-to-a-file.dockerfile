FROM rust AS build
FROM scratch
COPY out-file /x
COPY --from=build /w/release/app /app/app
