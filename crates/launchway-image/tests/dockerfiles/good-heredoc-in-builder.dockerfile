FROM rust AS build
RUN <<EOF
FROM scratch
EOF
FROM scratch
COPY --from=build /w/release/app /app/app
