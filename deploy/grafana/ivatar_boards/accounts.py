"""The dashboard of uploads and accounts."""

from ivatar_boards.spec import SELECT, WINDOW, Board, Panel, Query, Row, quantile, rate, share

UPLOADS = "ivatar_file_uploads_total"
SIZE = "ivatar_file_upload_size_bytes"
IMPORTS = "ivatar_imports_total"
AUTH = "ivatar_auth_attempts_total"
GOOD, BAD = 'success="true"', 'success="false"'

BOARD = Board(
    "ivatar-accounts", "Avatar server: uploads and accounts", "Uploads, imports, authentication.",
    (
        Row("Uploads", (
            Panel("Success", (Query(share(UPLOADS, GOOD), "all"),), "percentunit"),
            Panel("Uploads by outcome", (Query(rate(UPLOADS, "success"), "{{success}}"),), "ops",
                  stacked=True),
            Panel("Uploads by type", (Query(rate(UPLOADS, "content_type"), "{{content_type}}"),),
                  "ops", stacked=True),
            Panel("Failures by type",
                  (Query(rate(UPLOADS, "content_type", BAD), "{{content_type}}"),), "ops",
                  "other: a file that is no image, or none at all."),
            Panel("Size", (Query(quantile(0.5, SIZE), "p50"), Query(quantile(0.95, SIZE), "p95")),
                  "bytes"),
            Panel("Bytes received",
                  (Query(f"sum by (content_type) (rate({SIZE}_sum{{{SELECT}}}[{WINDOW}]))",
                         "{{content_type}}"),), "Bps", stacked=True),
        )),
        Row("Imports", (
            Panel("Imports by outcome", (Query(rate(IMPORTS, "success"), "{{success}}"),), "ops",
                  "Of photos from other services, and of exported files.", stacked=True),
            Panel("Success of imports",
                  (Query(share(IMPORTS, GOOD, "operation"), "{{operation}}"),), "percentunit",
                  "photo: an outside service returned a picture."),
            Panel("Failures of imports",
                  (Query(rate(IMPORTS, "operation", BAD), "{{operation}}"),), "ops"),
        )),
        Row("Accounts", (
            Panel("Attempts", (Query(rate(AUTH, "operation"), "{{operation}}"),), "ops",
                  stacked=True),
            Panel("Success", (Query(share(AUTH, GOOD, "operation"), "{{operation}}"),),
                  "percentunit"),
            Panel("Failures", (Query(rate(AUTH, "operation", BAD), "{{operation}}"),), "ops"),
        )),
    ),
)  # fmt: skip
