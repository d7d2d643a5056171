// The browser, its windows and the server of the browser test. Settings:
//   NOVA_URL          the server to test; without it a stand-in is started
//   NOVA_RESTART_CMD  restarts that server; without it the restart is skipped,
//                     except with the stand-in
//   NOVA_SCREENSHOTS  a folder for pictures
//   NOVA_CHROMIUM     the browser, /usr/bin/chromium by default

import { exec } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { FakeServer } from "../fake/server.mjs";

const patienceMs = 20_000;
const args = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export class Rig {
  /** What a browser complained about that is no lost connection. */
  complaints = [];

  async start() {
    this.url = process.env.NOVA_URL ?? (await this.standIn());
    const executablePath = process.env.NOVA_CHROMIUM ?? "/usr/bin/chromium";
    this.browser = await chromium.launch({ executablePath, args });
  }

  async standIn() {
    this.fake = new FakeServer({ dist: fileURLToPath(new URL("../../dist", import.meta.url)) });
    return this.fake.start();
  }

  async stop() {
    await this.browser?.close();
    await this.fake?.stop({ drainMs: 0 });
  }

  get canRestart() {
    return this.fake !== undefined || Boolean(process.env.NOVA_RESTART_CMD);
  }

  /** Restarts the server; resolves when it is back. */
  async restart() {
    if (this.fake) return this.fake.restart(1_500);
    await promisify(exec)(process.env.NOVA_RESTART_CMD);
  }

  /** A window of a browser of its own, with nothing stored. */
  async window(options = {}, url = this.url) {
    const context = await this.browser.newContext({ viewport: { width: 1120, height: 740 }, ...options });
    context.setDefaultTimeout(patienceMs);
    const page = await context.newPage();
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      const lost = /Failed to load resource|WebSocket connection to/.test(message.text());
      if (message.type() === "error" && !lost) this.complaints.push(message.text());
    });
    await page.goto(url);
    return new Window(page);
  }
}

/** One person's window, driven as a person would: by roles, names and keys. */
export class Window {
  constructor(page) {
    this.page = page;
  }

  async register({ username, name, password = "a sentence is best" }) {
    await this.page.getByRole("button", { name: "Create an account" }).click();
    await this.page.getByLabel("User name").fill(username);
    await this.page.getByLabel("Your name").fill(name);
    await this.page.getByLabel("Password").fill(password);
    await this.page.getByRole("button", { name: "Create account" }).click();
    await this.live();
  }

  async login({ username, password = "a sentence is best" }) {
    await this.page.getByLabel("User name").fill(username);
    await this.page.getByLabel("Password").fill(password);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.live();
  }

  live() {
    return this.page.waitForSelector('.shell[data-phase="live"]');
  }

  notLive() {
    return this.page.waitForSelector('.shell:not([data-phase="live"])');
  }

  /** Finds a person with the keyboard alone and opens the conversation. */
  async find(username) {
    await this.page.keyboard.press("Control+k");
    await this.page.getByRole("combobox").fill(username);
    await this.page.getByRole("option").filter({ hasText: `@${username}` }).waitFor();
    await this.page.keyboard.press("Enter");
    await this.composer.waitFor();
  }

  get composer() {
    return this.page.getByRole("textbox", { name: /^Message to/ });
  }

  async say(text) {
    await this.composer.fill(text);
    await this.composer.press("Enter");
  }

  message(text) {
    return this.page.locator(".message").filter({ has: this.page.getByText(text, { exact: true }) });
  }

  async sees(text) {
    await this.message(text).first().waitFor();
  }

  /** Waits until one's own message has that tick. */
  async tick(text, ...any) {
    const selector = any.map((t) => `[data-tick="${t}"]`).join(",");
    await this.message(text).locator(selector).first().waitFor();
  }

  async texts() {
    return this.page.locator(".message .body").allTextContents();
  }

  room(name) {
    return this.page.locator(".room").filter({ has: this.page.locator(".room-name", { hasText: name }) });
  }

  async picture(name) {
    const folder = process.env.NOVA_SCREENSHOTS;
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    // Words about the connection fade in late.
    await this.page.waitForTimeout(600);
    // Hiding the caret would put a style element into the page, which its
    // policy refuses.
    await this.page.screenshot({ path: join(folder, `${name}.png`), caret: "initial" });
  }
}
