// npm run picture -- FILE: the picture of the README, taken from a fresh server
// at NOVA_URL (or the stand-in): one window by day, a phone by night.

import { readFileSync } from "node:fs";
import { Rig } from "./rig.mjs";

const file = process.argv[2] ?? "chat.png";
const rig = new Rig();
await rig.start();
try {
  await take();
} finally {
  await rig.stop();
}

async function take() {
  const place = { locale: "en-GB", timezoneId: "Pacific/Auckland", deviceScaleFactor: 2 };
  const desk = await rig.window({ ...place, viewport: { width: 1060, height: 720 } });
  const phone = await rig.window({ ...place, viewport: { width: 360, height: 660 }, colorScheme: "dark", isMobile: true, hasTouch: true });
  const others = [];
  await desk.register({ username: "mira", name: "Mira Solberg" });
  await phone.register({ username: "jonas", name: "Jonas Weber" });
  for (const name of ["Adaeze Obi", "Tom Harding"]) {
    const window = await rig.window();
    await window.register({ username: name.split(" ")[0].toLowerCase(), name });
    others.push(window);
  }
  const [adaeze, tom] = others;

  await desk.find("tom");
  await desk.say("Spare key is under the blue pot");
  await tom.room("Mira Solberg").click();
  await tom.say("Found it, thank you!");
  await desk.page.getByRole("button", { name: "New group" }).click();
  await desk.page.getByLabel("Group name").fill("Observatory night");
  for (const who of ["jonas", "adaeze", "tom"]) {
    await desk.page.getByRole("combobox").fill(who);
    await desk.page.getByRole("option").filter({ hasText: `@${who}` }).click();
  }
  await desk.page.getByRole("button", { name: "Create group" }).click();
  await desk.say("Dome opens at nine. Who brings the thermos?");
  await adaeze.room("Observatory night").click();
  await adaeze.say("Me. And the good biscuits");
  await desk.sees("Me. And the good biscuits");

  await desk.find("jonas");
  await desk.say("Clear sky tonight, barely any moon");
  await phone.room("Mira Solberg").click();
  await phone.say("Then we finally get to see it?");
  await desk.say("If the clouds stay over the coast, yes.\nT Coronae Borealis, low in the west after ten");
  await phone.say("A nova I can see without a telescope");
  await phone.say("I'll be there at nine, with gloves this time");
  await desk.sees("I'll be there at nine, with gloves this time");
  await desk.say("Bring two pairs, I lost mine again");
  await phone.sees("Bring two pairs, I lost mine again");
  await desk.tick("Bring two pairs, I lost mine again", "read");
  await adaeze.say("Should I pick anyone up?");
  await desk.room("Observatory night").locator(".badge").waitFor();
  await phone.composer.pressSequentially("Deal");
  await desk.page.locator(".typing").getByText("is typing").waitFor();
  await compose(await shot(desk), await shot(phone));
}

async function shot(window) {
  const bytes = await window.page.screenshot({ caret: "initial" });
  return `data:image/png;base64,${bytes.toString("base64")}`;
}

async function compose(desk, phone) {
  const context = await rig.browser.newContext({ viewport: { width: 1500, height: 800 }, deviceScaleFactor: 1.4 });
  const page = await context.newPage();
  await page.setContent(`<style>
      body { margin: 0; background: linear-gradient(160deg, #e9e5da, #d9dde6); }
      img { position: absolute; display: block; }
      .desk { left: 44px; top: 40px; width: 1060px; border-radius: 14px; box-shadow: 0 24px 70px rgb(20 30 50 / 28%); }
      .phone { right: 40px; bottom: 36px; width: 330px; border-radius: 26px; border: 7px solid #0a0d12; box-shadow: 0 24px 60px rgb(10 15 25 / 45%); }
    </style><img class="desk" src="${desk}"><img class="phone" src="${phone}">`);
  await page.waitForFunction(() => [...document.images].every((i) => i.complete));
  await page.screenshot({ path: file });
  console.log(`${file}: ${readFileSync(file).length} bytes`);
}
