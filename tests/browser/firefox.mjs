// Drives one tab of Firefox: node firefox.mjs PATH-OF-FIREFOX. Each line of stdin is a JSON list of
// a method and its argument, ["goto", URL] or ["evaluate", EXPRESSION]; each line of stdout is
// {"value": …} or {"error": TEXT}. It ends with stdin.
import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const [executablePath] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
const [page] = await browser.pages();

async function answer(method, argument) {
  try {
    const value = await page[method](argument);
    return { value: method === "evaluate" ? (value ?? null) : null };
  } catch (error) {
    return { error: String(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(...JSON.parse(line)))}\n`);
}
await browser.close();
