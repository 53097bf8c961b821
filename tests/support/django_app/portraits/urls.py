"""The URLs; those of avatars are unanchored, so that they are found anywhere in a path."""

from django.contrib.auth import views as auth
from django.urls import include, path, re_path
from django.views.generic import RedirectView, TemplateView

from portraits import views_account, views_avatar, views_proxy

FORM = "form.html"
ACCOUNTS = [
    path("new/", views_account.NewAccount.as_view(), name="new_account"),
    path("login/", auth.LoginView.as_view(template_name=FORM), name="login"),
    path("logout/", auth.LogoutView.as_view(next_page="/"), name="logout"),
    path(
        "password_reset/",
        auth.PasswordResetView.as_view(template_name=FORM, email_template_name="mail.txt"),
        name="password_reset",
    ),
    path("password_reset/done/", TemplateView.as_view(template_name="page.html"),
         name="password_reset_done"),
    path("reset/<uidb64>/<token>/", auth.PasswordResetConfirmView.as_view(template_name=FORM),
         name="password_reset_confirm"),
    path("profile/", views_account.Profile.as_view(), name="profile"),
    re_path("profile/(?P<username>.+)", views_account.Profile.as_view(), name="profile_of"),
    path("upload_photo/", views_account.UploadPhoto.as_view(), name="upload_photo"),
    re_path(r"crop_photo/(?P<pk>\d+)", views_account.CropPhoto.as_view(), name="crop_photo"),
]  # fmt: skip

urlpatterns = [
    path("accounts/", include(ACCOUNTS)),
    path("tools/check/", TemplateView.as_view(template_name="page.html")),
    re_path(r"avatar/(?P<digest>\w{64})", views_avatar.Avatar.as_view(), name="avatar"),
    re_path(r"avatar/(?P<digest>\w{32})", views_avatar.Avatar.as_view(), name="avatar"),
    re_path(r"avatar/$", views_avatar.Avatar.as_view(), name="avatar"),
    re_path(r"avatar/(?P<digest>\w*)", RedirectView.as_view(url="/static/img/deadbeef.png")),
    re_path(r"gravatarproxy/(?P<digest>\w*)", views_proxy.GravatarProxy.as_view(),
            name="gravatarproxy"),
    path("description/", TemplateView.as_view(template_name="page.html")),
    path("stats/", views_avatar.stats, name="stats"),
    path("", TemplateView.as_view(template_name="page.html"), name="home"),
]  # fmt: skip
