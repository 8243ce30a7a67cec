/** Opens pages in Firefox; tells the title of each after a while, and what its console said. */

export default async function run(browser, addresses, tell) {
  for (const address of addresses) {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    const said = [];
    page.on("console", (message) => said.push(message.text()));
    await page.goto(address);
    let title = await page.title();
    for (let look = 0; look < 40 && title !== "waiting"; look += 1) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      title = await page.title();
      if (said.some((text) => text.includes("import map"))) {
        break;
      }
    }
    tell({ title, said });
    await context.close();
  }
}
