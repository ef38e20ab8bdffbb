FROM rust AS build
FROM scratch
COPPY a /b
COPY --from=build /w/release/app /app/app
