ARG REGISTRY=registry.example.com:5000
FROM rust AS build
FROM ${REGISTRY}/acme/base:1@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
COPY --from=build /t/release/app /app/app
