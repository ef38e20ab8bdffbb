FROM rust AS build
RUN --mount=type=cache,target=/x cargo build
FROM scratch
COPY --from=build /w/release/app /app/app
