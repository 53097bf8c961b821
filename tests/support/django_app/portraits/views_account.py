"""Accounts and photos, mostly by Django's own views and forms."""

from io import BytesIO

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.generic.base import TemplateView, View
from django.views.generic.edit import FormView
from PIL import Image

from portraits.models import Address, Photo

members_only = method_decorator(login_required, name="dispatch")


class PhotoForm(forms.Form):
    """A photo, and two promises."""

    photo = forms.FileField()
    not_porn = forms.BooleanField()
    can_distribute = forms.BooleanField()


class NewAccount(FormView):
    """Registration; who registers is logged in."""

    template_name = "form.html"
    form_class = UserCreationForm
    success_url = reverse_lazy("profile")

    def form_valid(self, form) -> HttpResponse:
        user = form.save()
        user.email = user.username
        user.save()
        Address.of(user, user.email)
        login(self.request, user)
        return super().form_valid(form)


@members_only
class Profile(TemplateView):
    """A user's page."""

    template_name = "page.html"


@members_only
class UploadPhoto(FormView):
    """Takes a photo and goes on to the crop page; every refusal goes back to the profile."""

    template_name = "form.html"
    form_class = PhotoForm

    def post(self, request, *args, **kwargs) -> HttpResponse:
        if request.user.photo_set.count() >= settings.MAX_PHOTOS:
            return self._refuse("too many photos")
        return super().post(request, *args, **kwargs)

    def form_valid(self, form) -> HttpResponse:
        file = self.request.FILES["photo"]
        if file.size > settings.MAX_PHOTO_BYTES:
            return self._refuse("too big")
        data = file.read()
        try:
            image = Image.open(BytesIO(data))
        except OSError:
            return self._refuse("no picture")
        photo = Photo.objects.create(user=self.request.user, data=data, format=image.format)
        return HttpResponseRedirect(reverse("crop_photo", args=[photo.pk]))

    def _refuse(self, reason: str) -> HttpResponse:
        messages.error(self.request, reason)
        return HttpResponseRedirect(reverse("profile"))


@members_only
class CropPhoto(View):
    """Cuts the photo and shows it for the user's addresses that have none."""

    def get(self, request, pk: str) -> HttpResponse:
        return render(request, "form.html", {"form": forms.Form()})

    def post(self, request, pk: str) -> HttpResponse:
        photo = get_object_or_404(Photo, pk=pk, user=request.user)
        left, top, width, height = (int(request.POST[name]) for name in "xywh")
        image = Image.open(BytesIO(photo.data)).crop((left, top, left + width, top + height))
        file = BytesIO()
        image.save(file, photo.format)
        photo.data = file.getvalue()
        photo.save()
        Address.objects.filter(user=request.user, photo=None).update(photo=photo)
        return HttpResponseRedirect(reverse("profile"))
