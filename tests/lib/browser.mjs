// browser: Debian's Chromium through playwright-core, and what the browser tests
// look at: pixels of charts, complaints of a page, contrast, names of controls.
import fs from 'node:fs';
import { chromium } from 'playwright-core';

const PATHS = [process.env.TOKENFATE_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'];
const executablePath = PATHS.find((path) => path && fs.existsSync(path));

// false, or why browser tests cannot run here.
export const skip = executablePath ? false : 'chromium is not installed';

// http://lab.test is this machine under the name of another host, so a page from there is in
// no secure context.
export const openBrowser = () => chromium.launch({
  executablePath,
  args: ['--host-resolver-rules=MAP lab.test 127.0.0.1', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--force-device-scale-factor=1'],
});

// A page in a fresh context. `complaints` gathers whatever a console shows in
// warning or error, uncaught exceptions and violations of the security policy.
// Answers outside 2xx that a test provokes are named in `expected` (statuses).
export async function openPage(browser, { dark = false, width = 1280, height = 900, expected = [] } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
  const complaints = [];
  const page = await newTab(context, complaints, expected);
  return { page, context, complaints };
}

// One more page of a context: a tab of the same browser.
export async function newTab(context, complaints, expected = []) {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const requests = new Set();
  underWay.set(page, requests);
  // Streams have no end, and of a shared worker's script a page is not told the end.
  const isEndless = (request) => request.resourceType() === 'eventsource' || request.url().endsWith('_worker.js');
  page.on('request', (request) => isEndless(request) || requests.add(request));
  for (const end of ['requestfinished', 'requestfailed']) page.on(end, (request) => requests.delete(request));
  page.on('console', (message) => {
    if (!['warning', 'error'].includes(message.type())) return;
    const [, status] = /the server responded with a status of (\d+)/.exec(message.text()) ?? [];
    if (!expected.includes(Number(status))) complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => complaints.push(error.stack));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI}`);
    });
    // The pixels of a chart, copied so that the page's own canvas stays as it is.
    window.readPixels = (canvas) => {
      const copy = document.createElement('canvas');
      copy.width = canvas.width;
      copy.height = canvas.height;
      const drawing = copy.getContext('2d', { willReadFrequently: true });
      drawing.drawImage(canvas, 0, 0);
      return drawing.getImageData(0, 0, canvas.width, canvas.height).data;
    };
  });
  return page;
}

// Collects what charts drawn from here on write; the answer reads the texts [{text, left,
// right, y}] of the n-th chart as it is, in pixels of its canvas.
export async function chartTexts(page) {
  await page.evaluate(() => {
    window.chartTexts = new Map();
    const { fillText, clearRect } = CanvasRenderingContext2D.prototype;
    Object.assign(CanvasRenderingContext2D.prototype, {
      clearRect(...box) {
        window.chartTexts.set(this.canvas, []);
        return clearRect.apply(this, box);
      },
      fillText(text, ...place) {
        const at = new DOMPoint(...place).matrixTransform(this.getTransform());
        const width = this.measureText(text).width;
        const left = at.x - { left: 0, center: width / 2, right: width }[this.textAlign];
        window.chartTexts.get(this.canvas)?.push({ text, left, right: left + width, y: at.y });
        return fillText.call(this, text, ...place);
      },
    });
  });
  return (n = 0) => page.locator('.chart canvas').nth(n).evaluate((canvas) => window.chartTexts.get(canvas));
}

const QUIET_MS = 100;
const underWay = new WeakMap(); // page: its requests

// Waits until a page has had all answers it asked for, and time to show them.
export async function idle(page) {
  for (let since = Date.now(); Date.now() - since < QUIET_MS;) {
    if (underWay.get(page).size) since = Date.now();
    await page.waitForTimeout(QUIET_MS / 4);
  }
}

// Of the n-th chart on the page: a hash of its pixels and how many are not empty.
export const pixels = (page, n = 0) => page.locator('.chart canvas').nth(n).evaluate((canvas) => {
  const data = window.readPixels(canvas);
  let hash = 0;
  let drawn = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3]) drawn++;
    hash = (Math.imul(hash, 31) + data[i] + 7 * data[i + 1] + 13 * data[i + 2] + data[i + 3]) | 0;
  }
  return { hash, drawn };
});

// Rows of the n-th chart in which at least `share` of the width has the colour
// of a CSS variable: horizontal lines.
export const horizontals = (page, n, variable, share) => page.locator('.chart canvas').nth(n).evaluate((canvas, [name, least]) => {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.color = `var(${name})`;
  const wanted = getComputedStyle(probe).color.match(/\d+/g).map(Number);
  probe.remove();
  const data = window.readPixels(canvas);
  const rows = [];
  for (let y = 0; y < canvas.height; y++) {
    let hits = 0;
    for (let x = 0; x < canvas.width; x++) {
      const i = 4 * (y * canvas.width + x);
      const near = [0, 1, 2].every((c) => Math.abs(data[i + c] - wanted[c]) < 24);
      if (near && data[i + 3] > 100) hits++;
    }
    if (hits > least * canvas.width) rows.push(y);
  }
  return rows;
}, [variable, share]);

// What clicking (or Enter on) a button saves: the file's name, and of the PNG its size,
// the colour of its corners, how many colours it has and how often each of some.
export async function savedPicture(page, button, wanted) {
  const [file] = await Promise.all([page.waitForEvent('download'), button.press('Enter')]);
  const bytes = fs.readFileSync(await file.path()).toString('base64');
  const seen = await page.evaluate(async ([text, colors]) => {
    const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type: 'image/png' }));
    const { width, height } = picture;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    canvas.getContext('2d').drawImage(picture, 0, 0);
    const data = new Uint32Array(window.readPixels(canvas).buffer); // bytes r, g, b, a
    const hex = (pixel) => [0, 8, 16].map((bit) => ((pixel >> bit) & 255).toString(16).padStart(2, '0')).join('');
    const times = new Map();
    const dotted = new Map(colors.map((color) => [color, 0])); // rows with a dotted line of it
    for (let y = 0; y < height; y++) {
      const row = new Map();
      for (let x = 0; x < width; x++) {
        const pixel = data[y * width + x];
        row.set(pixel, (row.get(pixel) ?? 0) + 1);
      }
      for (const [pixel, n] of row) {
        const color = hex(pixel);
        times.set(color, (times.get(color) ?? 0) + n);
        if (dotted.has(color) && n > 0.2 * width) dotted.set(color, dotted.get(color) + 1);
      }
    }
    const corners = [0, width - 1, (height - 1) * width, height * width - 1].map((at) => hex(data[at]));
    return { width, height, corners, colors: times.size, times: colors.map((color) => times.get(color) ?? 0), dotted: colors.map((color) => dotted.get(color)) };
  }, [bytes, wanted]);
  return { name: file.suggestedFilename(), ...seen };
}

// Texts whose contrast is below WCAG AA (4.5, large text 3), and controls that
// have no accessible name, and regions that the keyboard cannot scroll.
export const accessibilityFaults = (page) => page.evaluate(() => {
  const parsed = new Map();
  const parse = (color) => {
    if (!parsed.has(color)) parsed.set(color, paint(color));
    return parsed.get(color);
  };
  const paint = (color) => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], opaque: a > 250 };
  };
  const luminance = ({ rgb }) => {
    const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.opaque) return color;
    }
    return parse('white');
  };
  const faults = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest(':disabled, [aria-pressed="false"], noscript, option')) continue;
    const [a, b] = [luminance(parse(style.color)), luminance(ground(element))].sort((x, y) => y - x);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: "${walker.currentNode.textContent.trim().slice(0, 40)}"`);
  }
  for (const control of document.querySelectorAll('input, select, textarea, button, a')) {
    const name = control.getAttribute('aria-label') || control.textContent.trim() || [...(control.labels ?? [])].map((label) => label.textContent.trim()).join('');
    if (!name) faults.push(`no name: ${control.outerHTML.slice(0, 100)}`);
  }
  const takesFocus = (element) => element.tabIndex >= 0 || element.querySelector('a[href], button, input, select, textarea, [tabindex="0"]');
  for (const element of document.querySelectorAll('main, main *')) {
    const isHidden = element.scrollWidth > element.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(element).overflowX);
    if (isHidden && element.checkVisibility() && !takesFocus(element)) faults.push(`no keyboard scrolls ${element.outerHTML.slice(0, 100)}`);
  }
  return faults;
});
