FROM rust AS build
FROM scratch
COPY links/ /
COPY --from=build /w/release/app /app/app
