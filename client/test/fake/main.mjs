// npm run fake: the stand-in server on port 8080, serving client/dist.
import { fileURLToPath } from "node:url";
import { FakeServer } from "./server.mjs";

const server = new FakeServer({ dist: fileURLToPath(new URL("../../dist", import.meta.url)) });
const url = await server.start(Number(process.env.PORT ?? 8080));
console.log(`ready public=${url}`);
process.on("SIGUSR1", () => void server.restart());
process.on("SIGINT", () => process.exit(0));
