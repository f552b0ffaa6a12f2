"""Looks at a page with a real browser engine (Chromium in Qt), without a screen: at a phone's width, on paper, and whatever it asks for.

    look.py PAGE WIDTH SHOT.png PRINT.pdf

Prints as JSON what was seen; it judges nothing.
"""

import json
import os
import re
import signal
import sys

os.environ.update(
    QT_QPA_PLATFORM="offscreen",
    QT_QUICK_BACKEND="software",
    QTWEBENGINE_DISABLE_SANDBOX="1",  # it wants another user than root
    QTWEBENGINE_CHROMIUM_FLAGS="--disable-gpu --disable-dev-shm-usage",
)
from PyQt5.QtCore import QTimer, QUrl
from PyQt5.QtWebEngineCore import QWebEngineUrlRequestInterceptor
from PyQt5.QtWebEngineWidgets import QWebEnginePage, QWebEngineProfile, QWebEngineSettings, QWebEngineView
from PyQt5.QtWidgets import QApplication

# Who is not done by then is ended.
signal.alarm(60)
PAGE, WIDTH, SHOT, PRINT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
# A sheet of A4 between its margins, in the pixels of a style sheet.
PAPER = 680
SEEN = {"asked_for": []}

# What sticks out at the right, how large the smallest letters are, and what is drawn.
MEASURE = """(() => {
  const name = (one) => one.tagName + '.' + one.className + ' ' + one.textContent.trim().slice(0, 40);
  const all = [...document.body.querySelectorAll('*')].filter((one) => !(one instanceof SVGElement && one.tagName !== 'svg'));
  const words = all.filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== ''));
  const drawn = (what) => [...document.querySelectorAll(what)].map((one) => one.getBoundingClientRect());
  return {
    width: innerWidth,
    scrolls: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight,
    sticks_out: all.filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map(name),
    smallest: Math.min(...words.map((one) => parseFloat(getComputedStyle(one).fontSize))),
    smallest_drawn: Math.min(...drawn('svg text').map((box) => box.height)),
    lines: drawn('svg polyline').map((box) => [box.width, box.height]),
    dots: drawn('svg circle').filter((box) => box.width > 1).length,
    text: document.body.innerText,
  };
})()"""
# The rules for paper as if they were for all.
AS_PRINTED = """(() => {
  for (const sheet of document.styleSheets)
    for (const rule of [...sheet.cssRules])
      if (rule instanceof CSSMediaRule && rule.conditionText === 'print')
        for (const one of rule.cssRules) sheet.insertRule(one.cssText, sheet.cssRules.length);
})()"""


class Asked(QWebEngineUrlRequestInterceptor):
    def interceptRequest(self, info):
        SEEN["asked_for"].append(info.requestUrl().toString())
        if info.requestUrl() != QUrl.fromLocalFile(PAGE):
            info.block(True)


application = QApplication(sys.argv[:1])
profile = QWebEngineProfile()
asked = Asked()
profile.setUrlRequestInterceptor(asked)
view = QWebEngineView()
page = QWebEnginePage(profile, view)
view.setPage(page)
# A phone lays its bar over the page.
page.settings().setAttribute(QWebEngineSettings.ShowScrollBars, False)


def after(milliseconds, act):
    QTimer.singleShot(milliseconds, act)


def measured(name, then):
    def take(seen):
        SEEN[name] = seen
        then()

    page.runJavaScript(MEASURE, take)


def loaded(good):
    SEEN["loaded"] = good
    measured("phone", lambda: (view.resize(WIDTH, min(SEEN["phone"]["height"], 4000)), after(300, shoot)))


def shoot():
    image = view.grab().toImage()
    image.save(SHOT)
    step = 3
    colours = {image.pixel(x, y) for x in range(0, image.width(), step) for y in range(0, image.height(), step)}
    SEEN["shot"] = {"width": image.width(), "height": image.height(), "colours": len(colours)}
    page.printToPdf(PRINT)


def printed(_, good):
    SEEN["printed"] = good
    with open(PRINT, "rb") as file:
        SEEN["sheets"] = len(re.findall(rb"/Type\s*/Page\b(?!s)", file.read()))
    view.resize(PAPER, 900)
    page.runJavaScript(AS_PRINTED, lambda _: after(200, lambda: measured("paper", finish)))


def finish():
    print(json.dumps(SEEN), flush=True)
    # Its threads are not waited for.
    os._exit(0)


page.loadFinished.connect(loaded)
page.pdfPrintingFinished.connect(printed)
view.resize(WIDTH, 740)
view.show()
page.load(QUrl.fromLocalFile(PAGE))
application.exec_()
