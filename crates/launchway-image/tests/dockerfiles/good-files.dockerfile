FROM rust AS build
FROM scratch
COPY rootfs/ /
WORKDIR /srv
COPY --from=build /w/release/app /app/app
ENTRYPOINT ["/app/app"]
CMD ["serve"]
