ARG BASE=scratch
FROM rust AS build
FROM ${BASE}
COPY --from=build /w/release/app /app/app
