// Walks the web pages with a real browser, as people do: looks at every page, cancels a running
// query, watches a waiting one get its turn, in light and dark and on a phone. Whatever the browser
// calls an error fails the test. Pictures of the pages are left in the folder that is named.
//
//   node pages.mjs FOREBAY PICTURES
//
// FOREBAY is the program to test. `psql` and Debian's `chromium` must be there.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [program, pictures] = process.argv.slice(2);
if (!program || !pictures) {
  console.error("usage: node pages.mjs FOREBAY PICTURES");
  process.exit(2);
}

/** The longest that anything may take; only a failing test waits so long. */
const PATIENCE_MS = 60_000;

const PAGES = [
  ["/", "Overview"],
  ["/queries", "Queries"],
  ["/admission", "Resource queues"],
  ["/locks", "Locks"],
  ["/sessions", "Sessions"],
  ["/audit", "Audit"],
  ["/metrics", "Metrics"],
  ["/memz", "Memory"],
  ["/logs", "Logs"],
  ["/varz", "Configuration"],
];

/** Starts a server, and answers where its clients connect and where its pages are. */
async function serve(folder) {
  const server = spawn(
    program,
    ["serve", "--sample", "tpch", "--audit-log", "on", "--data-dir", folder, "--pg-listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0", "--hs2-listen", "off", "--hs2-http-listen", "off"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const found = {};
  for await (const line of createInterface({ input: server.stdout })) {
    const [, port] = line.match(/^ +PostgreSQL +\S+:(\d+)/) ?? [];
    const [, pages] = line.match(/^ +web pages +(\S+)/) ?? [];
    if (port) found.port = port;
    if (pages) found.pages = pages;
    if (line.startsWith("Ready")) return { ...found, server };
  }
  throw new Error("the server did not get ready");
}

/** Runs SQL with psql; answers whether it went well, and what was printed. */
function psql(port, sql, user) {
  // Each line that ends with a semicolon is sent on its own: some statements are in no block.
  const commands = sql.split(/;\s*\n/).filter((part) => part.trim()).flatMap((part) => ["-c", part]);
  const role = user ? ["-U", user] : [];
  const child = spawn("psql", ["-X", "-h", "127.0.0.1", "-p", port, ...role, "-d", "forebay", "-v", "ON_ERROR_STOP=1", ...commands], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let text = "";
  child.stdout.on("data", (part) => { text += part; });
  child.stderr.on("data", (part) => { text += part; });
  const ended = new Promise((resolve) => child.on("close", (code) => resolve({ ok: code === 0, text })));
  return { child, ended };
}

async function must(run) {
  const { ok, text } = await run.ended;
  assert.ok(ok, text);
  return text;
}

/** A page of the browser on which no error may be logged. */
async function open(browser, pages, options) {
  const context = await browser.newContext({ baseURL: pages, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) errors.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => errors.push(`${page.url()}: ${error}`));
  page.on("requestfailed", (request) => {
    // A stream of events ends when its page is left.
    const left = request.url().includes("live") || request.failure()?.errorText === "net::ERR_ABORTED";
    if (!left) errors.push(`${request.url()}: ${request.failure()?.errorText}`);
  });
  return { page, errors, context };
}

/** Nothing may be wider than the window: on a phone that means scrolling sideways. */
async function fits(page, name) {
  const { inner, width } = await page.evaluate(() => ({
    inner: window.innerWidth,
    width: document.documentElement.scrollWidth,
  }));
  assert.ok(width <= inner, `${name} is ${width} pixels wide in a window of ${inner}`);
}

/** Looks at every page and takes its picture. */
async function walk(browser, pages, look, options) {
  const { page, errors, context } = await open(browser, pages, options);
  for (const [path, name] of PAGES) {
    await page.goto(path);
    assert.equal(await page.locator("h1").innerText(), name);
    assert.equal(await page.locator("nav a[aria-current]").innerText(), name);
    await fits(page, `${name} (${look})`);
    await page.screenshot({ path: join(pictures, `${name.toLowerCase().replaceAll(" ", "-")}-${look}.png`), fullPage: true });
  }
  await page.goto("/queries");
  await page.locator("td.statement a", { hasText: "l_returnflag" }).first().click();
  await page.locator("h1", { hasText: "Query" }).waitFor();
  await page.locator("svg.plan").waitFor();
  await fits(page, `one query (${look})`);
  await page.screenshot({ path: join(pictures, `query-${look}.png`), fullPage: true });
  assert.deepEqual(errors, []);
  await context.close();
}

/** One waits for the other; cancels the one that runs, and watches the other begin. */
async function cancelAndWatch(browser, pages, port) {
  const { page, errors, context } = await open(browser, pages, {});
  const holder = psql(port, "SELECT 'holds the slot', pg_sleep(3600)", "ann");
  await page.goto("/queries");
  // The page is not loaded anew from here on: it has to move by itself.
  await page.locator("#pulse[data-state=on]").waitFor();
  const running = page.locator("tr", { hasText: "holds the slot" }).first();
  await running.locator(".badge.running").waitFor();
  const waiter = psql(port, "SELECT 'waits for the slot', pg_sleep(3600)", "ann");
  const waiting = page.locator("tr", { hasText: "waits for the slot" }).first();
  await waiting.locator(".badge.pending").waitFor();
  assert.match(await waiting.locator(".reason").innerText(), /place 1; all 1 slots are taken by process \d+/);

  const other = await context.newPage();
  await other.goto(await running.getByText("Cancel").getAttribute("href"));
  await other.screenshot({ path: join(pictures, "cancel-light.png"), fullPage: true });
  await other.getByRole("button", { name: "Cancel the query" }).click();
  await other.locator(".badge.cancelled").waitFor();
  await other.close();
  const { ok, text } = await holder.ended;
  assert.ok(!ok && text.includes("canceling statement due to user request"), text);
  await waiting.locator(".badge.running").waitFor();

  await page.goto("/sessions");
  const session = page.locator("tr", { hasText: "waits for the slot" });
  await session.getByText("Close").click();
  await page.getByRole("button", { name: "Close the session" }).click();
  assert.ok(!(await waiter.ended).ok);
  await page.goto("/logs");
  await page.locator("input[name=filter]").fill("debug");
  await page.getByRole("button", { name: "Change" }).click();
  await page.locator(".log li", { hasText: "what is logged was changed" }).first().waitFor();
  assert.equal(await page.locator("input[name=filter]").inputValue(), "debug");
  assert.deepEqual(errors, []);
  await context.close();
}

/** Filters and sorts. */
async function search(browser, pages) {
  const { page, errors, context } = await open(browser, pages, {});
  await page.goto("/queries");
  await page.locator("input[name=text]").fill("<script>");
  await page.getByRole("button", { name: "Filter" }).click();
  const found = page.locator("td.statement a");
  await found.first().waitFor();
  assert.match(await found.first().innerText(), /<script>/);
  await page.getByRole("link", { name: "Duration" }).first().click();
  await page.locator("th a", { hasText: "Duration ↓" }).first().waitFor();
  assert.equal(await page.evaluate(() => window.harmed), undefined);
  assert.deepEqual(errors, []);
  await context.close();
}

/** What the pages have to show: queues, statements that ran, failed, run, wait, and locks. */
async function scene(port) {
  await must(psql(port, `
    CREATE RESOURCE QUEUE reports WITH (ACTIVE_STATEMENTS=1, MEMORY_LIMIT='64MB', PRIORITY=LOW);
    CREATE RESOURCE QUEUE dashboards WITH (ACTIVE_STATEMENTS=8, MAX_COST=100000, MAX_QUEUED=50);
    COMMENT ON RESOURCE QUEUE reports IS 'nightly loads and reports';
    CREATE ROLE ann LOGIN RESOURCE QUEUE reports;
    CREATE ROLE bob LOGIN RESOURCE QUEUE dashboards;
  `));
  await must(psql(port, "SELECT l_returnflag, count(*), sum(l_extendedprice) FROM lineitem GROUP BY 1 ORDER BY 1", "bob"));
  await must(psql(port, "SELECT o_orderpriority, count(*) FROM orders WHERE o_orderdate >= date '1998-01-01' GROUP BY 1", "ann"));
  await must(psql(port, "SELECT '<script>window.harmed = 1</script>' AS \"<b>harm</b>\"", "bob"));
  await psql(port, "SELECT count(*) FROM no_such_table", "bob").ended;
  return [
    psql(port, "SELECT 'the monthly report', pg_sleep(3600)", "ann"),
    psql(port, "SELECT 'the best customers', pg_sleep(3600)", "bob"),
    psql(port, "BEGIN; LOCK TABLE nation IN SHARE MODE; SELECT pg_sleep(3600)"),
  ];
}

async function waitFor(pages, what, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await fetch(new URL("/?json", pages));
    if (holds(await answer.json())) return;
    assert.ok(Date.now() < deadline, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function main() {
  await mkdir(pictures, { recursive: true });
  const folder = await mkdtemp(join(tmpdir(), "forebay-browser-"));
  const { server, port, pages } = await serve(folder);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  let children = [];
  try {
    children = await scene(port);
    await waitFor(pages, "three run", (now) => now.num_in_flight_queries === 3);
    children.push(psql(port, "SELECT 'the weekly report', count(*) FROM lineitem", "ann"));
    children.push(psql(port, "BEGIN; LOCK TABLE nation IN ACCESS EXCLUSIVE MODE; COMMIT"));
    await waitFor(pages, "two wait", (now) => now.num_waiting_for_admission === 2);
    const wide = { viewport: { width: 1280, height: 800 } };
    const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
    await walk(browser, pages, "light", { ...wide, colorScheme: "light" });
    await walk(browser, pages, "dark", { ...wide, colorScheme: "dark" });
    await walk(browser, pages, "phone", { ...phone, colorScheme: "light" });
    await search(browser, pages);
    children.forEach(({ child }) => child.kill());
    await waitFor(pages, "nothing runs", (now) => now.num_in_flight_queries === 0);
    await cancelAndWatch(browser, pages, port);
    console.log("the web pages are well: light, dark, phone");
  } finally {
    children.forEach(({ child }) => child.kill());
    await browser.close();
    server.kill("SIGTERM");
    await new Promise((resolve) => server.once("exit", resolve));
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
