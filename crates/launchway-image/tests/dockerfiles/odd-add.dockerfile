FROM rust AS build
FROM scratch
ADD https://example.com/x /x
COPY --from=build /w/release/app /app/app
