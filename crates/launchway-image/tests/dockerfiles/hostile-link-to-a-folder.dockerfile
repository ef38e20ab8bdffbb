FROM rust AS build
FROM scratch
COPY out-folder/secret /x
COPY --from=build /w/release/app /app/app
