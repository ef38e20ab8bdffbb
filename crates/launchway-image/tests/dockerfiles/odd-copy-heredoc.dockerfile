FROM rust AS build
FROM scratch
COPY <<EOF /etc/motd
hello
EOF
COPY --from=build /w/release/app /app/app
