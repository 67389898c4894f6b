/*
 * Makes the project ready to run: the right Node, and node_modules as package-lock.json has them.
 * Runs before `npm start` and `npm test`, so it may use nothing that is not in Node itself.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const oldest = [20, 19];
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major < oldest[0] || (major === oldest[0] && minor < oldest[1])) {
  fail(
    `Tokenbook needs Node ${oldest.join(".")} or newer; this is ${process.versions.node}. See https://nodejs.org.`,
  );
}

// npm's own record of what it installed is not enough: it stays behind when an install was
// interrupted, and its dates mean nothing after a copy. So the lock file's hash is kept beside it.
const stamp = join(root, "node_modules", ".tokenbook-installed");
const wanted = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .update(`${process.platform} ${process.arch}`)
  .digest("hex");

if (read(stamp) !== wanted) alone(install);

function install() {
  if (read(stamp) === wanted) return; // whom this waited for has done it
  console.log("Installing dependencies (npm ci); this takes a minute the first time …");
  // Development dependencies too, whatever NODE_ENV says: the tests and the checks live there.
  // And its words, whatever `npm run --silent` handed on: they are the reason where it fails.
  const npm = spawnSync("npm", ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=warn"], {
    cwd: root,
    stdio: "inherit",
  });
  if (npm.error) fail(`npm could not be started: ${npm.error.message}`);
  if (npm.status !== 0) fail("npm ci failed; what it says above is the reason.");
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}

/**
 * Two at once would each take away what the other puts there. A lock whose process is gone is nobody's.
 *
 * @param {() => void} work
 */
function alone(work) {
  const name = createHash("sha256").update(root).digest("hex").slice(0, 16);
  const lock = join(tmpdir(), `tokenbook-setup-${name}.lock`);
  const own = `${lock}.${process.pid}`;
  writeFileSync(own, String(process.pid));
  process.once("exit", () => rmSync(own, { force: true }));
  for (let waited = false; ; waited = true) {
    try {
      linkSync(own, lock); // with what it says, or not at all
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (!isRunning(Number(read(lock)))) {
      rmSync(lock, { force: true });
      continue;
    }
    if (!waited) console.log("Dependencies are being installed here by another command; waiting for it …");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  }
  process.once("exit", () => rmSync(lock, { force: true }));
  work();
}

/** @param {number} pid */
function isRunning(pid) {
  if (!pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** @param {string} message @returns {never} */
function fail(message) {
  console.error(message);
  process.exit(1);
}
