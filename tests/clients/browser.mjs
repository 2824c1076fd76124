// Runs a script for a page under Node: `node browser.mjs SCRIPT`. It gets the WebSocket of `ws`, which has the
// interface of a browser's, and a document that can only be appended to. Each piece is printed as {"append": ...}, the
// end as {"close": code}; the page is left when its answer is done.
import { readFile } from "node:fs/promises";
import { WebSocket } from "ws";

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");

class PageSocket extends WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener("message", ({ data }) => JSON.parse(data).type === "universal.done" && this.close(1000));
    this.addEventListener("close", ({ code }) => print({ close: code }));
  }
}

const document = { body: { append: (text) => print({ append: text }) } };
new Function("WebSocket", "document", await readFile(process.argv[2], "utf8"))(PageSocket, document);
