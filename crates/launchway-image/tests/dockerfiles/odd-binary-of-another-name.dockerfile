FROM rust AS build
FROM scratch
COPY --from=build /w/release/other /app/app
