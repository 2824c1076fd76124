// A client on Node's `ws`, driven by one JSON argument:
//
//   url        where to connect
//   protocols  subprotocols to offer (default: none)
//   headers    headers of the upgrade (default: none)
//   messages   what to send: strings as they are, anything else as JSON
//   endings    leave after so many finished answers (default: one for each message)
//
// It prints what happens, one JSON object a line: {"open": {"protocol"}}, {"message": ...}, {"refused": {"status",
// "body"}}, {"error": "..."} and, last, {"close": {"code", "reason"}}.
import { WebSocket } from "ws";

const plan = { protocols: [], headers: {}, messages: [], ...JSON.parse(process.argv[2]) };
plan.endings ??= plan.messages.length;

const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const socket = new WebSocket(plan.url, plan.protocols, { headers: plan.headers });

// A whole answer is one `universal.created`; a stream begins with one and ends with `universal.done`.
const isEnding = ({ type, response }) => type === "universal.done" || (type === "universal.created" && response !== undefined);

socket.on("open", () => {
  print({ open: { protocol: socket.protocol } });
  for (const message of plan.messages) {
    socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }
});

socket.on("message", (data) => {
  const message = JSON.parse(data.toString());
  print({ message });
  if (isEnding(message) && --plan.endings === 0) socket.close(1000);
});

socket.on("unexpected-response", async (_request, answer) => {
  let body = "";
  for await (const piece of answer) body += piece;
  print({ refused: { status: answer.statusCode, body } });
  socket.terminate();
});

socket.on("error", (error) => print({ error: error.message }));
socket.on("close", (code, reason) => print({ close: { code, reason: reason.toString() } }));
