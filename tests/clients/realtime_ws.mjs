// A realtime session on Node's `ws`, driven by one JSON argument:
//
//   url        where to connect
//   protocols  subprotocols to offer
//   messages   what to send: objects as JSON text, strings as the bytes that they are the base64 of
//
// It waits for as many messages as it sent, and leaves. It prints what happens, one JSON object a line: {"open":
// {"protocol"}}, {"text"}, {"binary"} in base64, {"error"} and, last, {"close": {"code", "reason"}}.
import { WebSocket } from "ws";

const plan = JSON.parse(process.argv[2]);
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const socket = new WebSocket(plan.url, plan.protocols);
let left = plan.messages.length;

socket.on("open", () => {
  print({ open: { protocol: socket.protocol } });
  for (const message of plan.messages) {
    socket.send(typeof message === "string" ? Buffer.from(message, "base64") : JSON.stringify(message));
  }
});

socket.on("message", (data, isBinary) => {
  print(isBinary ? { binary: data.toString("base64") } : { text: data.toString() });
  if (--left === 0) socket.close(1000);
});

socket.on("error", (error) => print({ error: error.message }));
socket.on("close", (code, reason) => print({ close: { code, reason: reason.toString() } }));
