"""The dashboard of uploads and accounts."""

from ivatar_boards.limits import of_alert
from ivatar_boards.spec import Board, Help, Panel, Query, Row, quantile, rate, share, total

UPLOADS = "ivatar_file_uploads_total"
SIZE = "ivatar_file_upload_size_bytes"
IMPORTS = "ivatar_imports_total"
AUTH = "ivatar_auth_attempts_total"
GOOD, BAD = 'success="true"', 'success="false"'
UPLOAD_TRACES = '{ name = "file_upload.process" }'
IMPORT_TRACES = '{ name =~ "import\\\\..*" }'
AUTH_TRACES = '{ name =~ "auth\\\\..*" }'

BOARD = Board(
    "ivatar-accounts", "Avatar server: uploads and accounts", "Uploads, imports, authentication.",
    (
        Row("Uploads", (
            Panel("Success", (Query(share(UPLOADS, GOOD), "all"),), "percentunit",
                  Help("Share of the uploads that succeed.",
                       "Above 75 %: some files are too big or no images.",
                       "See Failures by type; check disk, database and client_max_body_size of "
                       "the proxy."),
                  of_alert("UploadsFail"), traces=UPLOAD_TRACES),
            Panel("Uploads by outcome", (Query(rate(UPLOADS, "success"), "{{success}}"),), "ops",
                  Help("Requests with a file, per second; true: it was accepted.",
                       "Mostly true.",
                       "If false rises alone, see Failures by type."),
                  stacked=True),
            Panel("Uploads by type", (Query(rate(UPLOADS, "content_type"), "{{content_type}}"),),
                  "ops",
                  Help("Content type of the first file of each upload.",
                       "jpeg and png.",
                       "Much of other are files that are no images: see Failures by type."),
                  stacked=True),
            Panel("Failures by type",
                  (Query(rate(UPLOADS, "content_type", BAD), "{{content_type}}"),), "ops",
                  Help("Failed uploads; other: a file that is no image, or none at all.",
                       "Some of other, hardly any image.",
                       "Failures of images are faults: open their traces and logs."),
                  traces=UPLOAD_TRACES),
            Panel("Size", (Query(quantile(0.5, SIZE), "p50"), Query(quantile(0.95, SIZE), "p95")),
                  "bytes",
                  Help("Size of the files that were read.",
                       "Below the limits of the proxy and the application.",
                       "If p95 is at a limit, uploads are refused: show the limit on the page.")),
            Panel("Bytes received", (Query(total(SIZE, "content_type"), "{{content_type}}"),),
                  "Bps",
                  Help("Bytes of files per second.",
                       "Far below the network of the host.",
                       "A jump without users is an attack: limit uploads at the proxy."),
                  stacked=True),
        )),
        Row("Imports", (
            Panel("Imports by outcome", (Query(rate(IMPORTS, "success"), "{{success}}"),), "ops",
                  Help("Imports of photos from other services, and of exported files.",
                       "Mostly true.",
                       "If false rises, see Success of imports."),
                  stacked=True),
            Panel("Success of imports",
                  (Query(share(IMPORTS, GOOD, "operation"), "{{operation}}"),), "percentunit",
                  Help("Share that succeeds; photo: an outside service returned a picture.",
                       "Users without a photo elsewhere make failures: compare with last week.",
                       "If photo drops to 0, see the dashboard of outside services."),
                  traces=IMPORT_TRACES),
            Panel("Failures of imports",
                  (Query(rate(IMPORTS, "operation", BAD), "{{operation}}"),), "ops",
                  Help("Failed imports per second.",
                       "Few.",
                       "Open their traces: the call of the outside service has the status."),
                  traces=IMPORT_TRACES),
        )),
        Row("Accounts", (
            Panel("Attempts", (Query(rate(AUTH, "operation"), "{{operation}}"),), "ops",
                  Help("Attempts to log in, register and so on, per second.",
                       "Few; they follow the hour of the day.",
                       "A jump of login is a password attack: limit the rate at the proxy."),
                  stacked=True),
            Panel("Success of attempts", (Query(share(AUTH, GOOD, "operation"), "{{operation}}"),),
                  "percentunit",
                  Help("Share of the attempts at each operation that succeed.",
                       "Above 75 %; lower for register and password_reset, because of robots.",
                       "If no login succeeds, check database, sessions and the OpenID provider."),
                  of_alert("AuthenticationFails"), traces=AUTH_TRACES),
            Panel("Failures", (Query(rate(AUTH, "operation", BAD), "{{operation}}"),), "ops",
                  Help("Failed attempts per second.",
                       "Few: wrong passwords.",
                       "A jump of login is a password attack; see the access log."),
                  traces=AUTH_TRACES),
        )),
    ),
)  # fmt: skip
