COPY a /b
