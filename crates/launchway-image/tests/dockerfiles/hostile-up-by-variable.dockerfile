FROM rust AS build
FROM scratch
ARG UP=..
COPY $UP/outside /x
COPY --from=build /w/release/app /app/app
