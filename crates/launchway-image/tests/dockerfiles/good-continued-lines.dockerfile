FROM rust AS build
FROM scratch
ENV A=1 \
# a comment between
    B=2
COPY --from=build /w/release/app /app/app
