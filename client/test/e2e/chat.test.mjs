// Two people in two windows of Chromium, from registering to a server restart.
// The steps build on each other, so they are subtests of one test.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Rig } from "../browser/rig.mjs";

const rig = new Rig();
const run = Date.now().toString(36);
const alice = { username: `alice-${run}`, name: "Alice Moreau" };
const bob = { username: `bob-${run}`, name: "Bob Lindqvist" };
const carol = { username: `carol-${run}`, name: "Carol Okafor" };

before(() => rig.start());
after(() => rig.stop());

test("two people chat", { timeout: 240_000 }, async (t) => {
  let a, b, c;
  let failed = false;
  // After the first failure the steps behind it would only repeat it, slowly.
  const step = (name, body) =>
    t.test(name, async (t) => {
      if (failed) return t.skip("an earlier step failed");
      failed = true;
      await body(t);
      failed = false;
    });

  await step("wrong input is explained beside the field", async () => {
    a = await rig.window();
    await a.picture("01-sign-in");
    await a.page.getByRole("button", { name: "Create an account" }).click();
    await a.page.getByLabel("User name").fill(alice.username);
    await a.page.getByLabel("Password").fill("short");
    await a.page.getByRole("button", { name: "Create account" }).click();
    await a.page.locator(".field-note.is-wrong").first().waitFor();
    await a.picture("02-register-refused");
    await a.page.reload();
  });

  await step("register", async () => {
    b = await rig.window({ colorScheme: "dark" });
    await a.register(alice);
    await a.page.getByText("No conversations yet").waitFor();
    await a.picture("03-empty");
    await b.register(bob);
  });

  await step("find a person and open a conversation", async () => {
    await a.page.keyboard.press("Control+k");
    await a.page.getByRole("combobox").fill(bob.username);
    await a.page.getByRole("option").first().waitFor();
    await a.picture("04-find");
    // Nothing waits between the two: closed is closed, and the shortcut opens it again.
    await a.page.keyboard.press("Escape");
    await a.find(bob.username);
    await a.page.getByText("Say hello to Bob Lindqvist").waitFor();
  });

  await step("chat both ways, live, with ticks", async () => {
    await a.say("Hi Bob! Did the boat survive the storm?");
    await b.room(alice.name).waitFor();
    await b.room(alice.name).locator(".badge").waitFor();
    await a.tick("Hi Bob! Did the boat survive the storm?", "delivered");
    await a.picture("05-delivered");
    await b.picture("06-unread-dark");
    await b.room(alice.name).click();
    await b.sees("Hi Bob! Did the boat survive the storm?");
    await a.tick("Hi Bob! Did the boat survive the storm?", "read");
    await b.say("It did, mast and all.");
    await b.say("Only the blue tarp is somewhere over Denmark now");
    await a.sees("Only the blue tarp is somewhere over Denmark now");
    await b.tick("Only the blue tarp is somewhere over Denmark now", "delivered", "read");
  });

  await step("what is written is text, never markup", async () => {
    const text = `<img src=x onerror="document.title='no'"> & <b>bold</b>`;
    await b.say(text);
    await a.sees(text);
    assert.equal(await a.page.locator(".log img, .log b").count(), 0);
  });

  await step("typing is seen, and ends", async () => {
    await b.composer.pressSequentially("I will send you a picture", { delay: 20 });
    await a.page.locator(".typing").getByText("is typing").waitFor();
    await a.picture("07-typing");
    await b.composer.press("Enter");
    await a.sees("I will send you a picture");
    await a.page.locator(".typing").getByText("is typing").waitFor({ state: "detached" });
  });

  await step("Shift+Enter makes a line", async () => {
    await a.composer.pressSequentially("Please do.");
    await a.composer.press("Shift+Enter");
    await a.composer.pressSequentially("The forecast: https://example.org/wind says more to come.");
    await a.composer.press("Enter");
    await b.page.locator(".body a", { hasText: "https://example.org/wind" }).waitFor();
    await a.picture("08-chat-light");
    await b.picture("09-chat-dark");
  });

  await step("a reload keeps the session and the conversation", async () => {
    await a.page.reload();
    await a.live();
    await a.sees("It did, mast and all.");
    await a.tick("Hi Bob! Did the boat survive the storm?", "read");
  });

  await step("a group", async () => {
    c = await rig.window({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
    await c.register(carol);
    await a.page.getByRole("button", { name: "New group" }).click();
    await a.page.getByLabel("Group name").fill("Harbour crew");
    for (const who of [bob, carol]) {
      await a.page.getByRole("combobox").fill(who.username);
      await a.page.getByRole("option").filter({ hasText: `@${who.username}` }).click();
    }
    await a.picture("10-new-group");
    await a.page.getByRole("button", { name: "Create group" }).click();
    await a.page.getByRole("textbox", { name: "Message to Harbour crew" }).waitFor(); // until then Bob is who is written to
    await a.say("Saturday, seven o'clock, bring gloves");
    await c.room("Harbour crew").waitFor();
  });

  await step("on a phone one pane at a time", async () => {
    await c.picture("11-phone-list");
    await c.room("Harbour crew").click();
    await c.sees("Saturday, seven o'clock, bring gloves");
    assert.equal(await c.page.locator(".sidebar").isVisible(), false);
    await c.say("I have a spare pair");
    await b.room("Harbour crew").click();
    await b.sees("I have a spare pair");
    await b.say("Coffee is on me");
    await c.sees("Coffee is on me");
    await c.tick("I have a spare pair", "delivered", "read");
    await c.picture("12-phone-thread");
    await c.page.emulateMedia({ colorScheme: "dark" });
    await c.picture("13-phone-thread-dark");
    await c.page.emulateMedia({ colorScheme: "light" });
    await a.page.getByRole("button", { name: "Members" }).click();
    await a.page.getByRole("dialog").getByText("owner").waitFor();
    await a.picture("14-members");
    await a.page.keyboard.press("Escape");
    await c.page.getByRole("button", { name: "Back to conversations" }).click();
    await c.page.locator(".sidebar").waitFor();
    assert.equal(await c.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true);
  });

  await step("history pages upwards and nothing jumps", async () => {
    await a.room(bob.name).click();
    await b.room(alice.name).click();
    for (let i = 1; i <= 60; i++) await a.say(`Knot ${i}`);
    await b.sees("Knot 60");
    await b.page.reload();
    await b.live();
    await b.sees("Knot 60");
    await b.page.locator(".scroller").hover();
    const first = b.message("Hi Bob! Did the boat survive the storm?");
    for (let i = 0; i < 40 && (await first.count()) === 0; i++) await b.page.mouse.wheel(0, -600);
    await first.waitFor();
    const texts = (await b.texts()).filter((x) => x.startsWith("Knot "));
    assert.deepEqual(texts, Array.from({ length: 60 }, (_, i) => `Knot ${i + 1}`));
    await first.evaluate((el) => el.closest(".scroller").scrollTo({ top: -1e6 }));
    await b.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    const place = () => first.evaluate((el) => Math.round(el.getBoundingClientRect().top));
    const was = await place();
    await a.say("One more for the log");
    await b.page.locator(".to-bottom .badge").waitFor();
    assert.equal(await place(), was);
    await b.picture("15-scrolled-up");
    await b.page.getByRole("button", { name: "Go to the newest message" }).click();
    await a.tick("One more for the log", "read");
  });

  await step("offline, and back", async () => {
    await a.page.context().setOffline(true);
    await a.page.locator(".thread").getByText("Offline, will send when back").waitFor();
    await a.say("Written on the train");
    await a.say("in a tunnel");
    await a.tick("in a tunnel", "pending");
    await a.picture("16-offline");
    await a.page.context().setOffline(false);
    await b.sees("in a tunnel");
    const texts = await b.texts();
    assert.ok(texts.indexOf("Written on the train") < texts.indexOf("in a tunnel"));
  });

  await step("the server restarts and nothing is lost", async (t) => {
    if (!rig.canRestart) return t.skip("NOVA_RESTART_CMD is not set");
    const back = rig.restart();
    await a.notLive();
    await a.say("Written while the server was away");
    await a.picture("17-reconnecting");
    await back;
    await Promise.all([a.live(), b.live()]);
    await b.sees("Written while the server was away");
    await a.tick("Written while the server was away", "delivered", "read");
    await b.say("And you are back");
    await a.sees("And you are back");
    for (const w of [a, b]) {
      const texts = await w.texts();
      assert.equal(texts.filter((x) => x === "Written while the server was away").length, 1);
      assert.equal(texts.filter((x) => x === "And you are back").length, 1);
    }
  });

  await step("another window of the same session takes over, and gives back", async () => {
    const stored = await a.page.evaluate(() => JSON.stringify({ ...sessionStorage }));
    const twin = await a.page.context().newPage();
    await twin.addInitScript((s) => Object.entries(JSON.parse(s)).forEach(([k, v]) => (sessionStorage[k] ??= v)), stored);
    await twin.goto(rig.url);
    await a.page.getByText("Another window took over").waitFor();
    await a.picture("18-taken-over");
    await twin.close();
    await a.page.getByRole("button", { name: "Use this window" }).click();
    await a.live();
  });

  await step("a session ended elsewhere says so", async () => {
    const device = await b.page.evaluate(() => sessionStorage["nova.device"]);
    const d = await rig.window();
    await d.page.evaluate((id) => (sessionStorage["nova.device"] = id), device);
    await d.login(bob);
    await b.page.getByText("You were signed out").waitFor();
    await b.picture("19-signed-out");
    await d.room(alice.name).waitFor();
    await d.page.getByRole("button", { name: "Sign out" }).click();
    await d.page.getByRole("heading", { name: "Welcome back" }).waitFor();
  });

  await step("a wrong password is refused in words", async () => {
    await b.page.getByLabel("User name").fill(bob.username);
    await b.page.getByLabel("Password").fill("not the one at all");
    await b.page.getByRole("button", { name: "Sign in" }).click();
    await b.page.getByText("do not match").waitFor();
  });

  await step("no browser complained", () => assert.deepEqual(rig.complaints, []));
});
