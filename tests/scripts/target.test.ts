import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clusterOf, recordRunning } from "local-platform/project/running";
import { asLibpqMeansIt, chooseTarget } from "../../packages/tokenbook/src/database/target.ts";
import { projectAt } from "../../packages/tokenbook/src/project/folder.ts";

let root: string;
beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "tokenbook-target-")));
  mkdirSync(join(root, "supabase/.temp"), { recursive: true });
  writeFileSync(join(root, "supabase/config.toml"), "[db]\nport = 5999\n");
});
afterAll(() => rmSync(root, { recursive: true }));

test("the name of a database never shows its password", () => {
  expect(chooseTarget({ dbUrl: "postgresql://postgres:secret@db.example.com:6543/postgres" }, {}).name).toBe(
    "db.example.com:6543/postgres",
  );
});

test.for([
  "db.example.com",
  "mysql://root:x@localhost/app",
  "https://abc.supabase.co",
  "postgresql:///postgres",
])("%s is no connection string", (dbUrl) => {
  expect(() => chooseTarget({ dbUrl }, {})).toThrow("no connection string");
});

test.for(["#", "?", "/", "@", " ", "%c"])(
  "a password with an unescaped %s gets a hint, and is not shown",
  (sign) => {
    const dbUrl = `postgresql://postgres:se${sign}cret@db.example.com:5432/postgres`;
    const hint = () => chooseTarget({ dbUrl }, {});

    expect(hint).toThrow("write % as %25");
    expect(hint).not.toThrow("cret");
  },
);

test.for([
  ["postgresql://u:p@127.0.0.1:1/other?port=7&host=H", "h:7/other", "postgresql://u:p@H:7/other"],
  [
    "postgresql://u:p@127.0.0.1:1/other?dbname=third&sslmode=disable",
    "127.0.0.1:1/third",
    "postgresql://u:p@127.0.0.1:1/third?sslmode=disable",
  ],
  [
    "postgresql:///postgres?host=db.example.com&user=u&password=p%40s",
    "db.example.com:5432/postgres",
    "postgresql://u:p%40s@db.example.com/postgres",
  ],
  [
    "postgresql://u:p@db.example.com/other?host=",
    "db.example.com:5432/other",
    "postgresql://u:p@db.example.com/other",
  ],
])("what stands behind the ? is what is connected to and what is printed: %s", ([dbUrl, name, url]) => {
  const target = chooseTarget({ dbUrl: dbUrl! }, {});
  expect([target.name.toLowerCase(), target.url]).toEqual([name, url]);
  const { host, port, database } = new pg.Client({ connectionString: target.url });
  expect(`${host}:${port}/${database}`.toLowerCase()).toBe(name);
});

test("a local address behind the ? does not hide that the password goes elsewhere", () => {
  const { url } = chooseTarget({ dbUrl: "postgresql://u:p@127.0.0.1/x?host=db.example.com" }, {});
  expect(new URL(asLibpqMeansIt(url)).searchParams.get("sslmode")).toBe("require");
});

test.for(["hostaddr=10.0.0.1", "host=/var/run/postgresql", "host=a,b", "port=1,2"])(
  "%s, which not everything here takes in the same way, is refused",
  (parameter) => {
    expect(() => chooseTarget({ dbUrl: `postgresql://u:p@one.example.com/x?${parameter}` }, {})).toThrow(
      "not understood here",
    );
  },
);

test("what the environment says counts where no option says otherwise, and empty is not said", () => {
  const env = { SUPABASE_DB_URL: "postgresql://postgres:x@one.example.com/postgres" };

  expect(chooseTarget({}, env).name).toBe("one.example.com:5432/postgres");
  expect(chooseTarget({ dbUrl: "postgresql://postgres:x@two.example.com/postgres" }, env).name).toMatch(
    /^two/,
  );
  expect(chooseTarget({ workdir: root }, { SUPABASE_DB_URL: "" }).name).toBe(
    "the local database (127.0.0.1:5999/postgres)",
  );
});

test("the local database is found on the port that it was started on, while it runs", () => {
  const project = projectAt(root);
  expect(chooseTarget({ workdir: root }, {}).url).toContain(":5999/");
  expect(chooseTarget({ workdir: root }, { TOKENBOOK_DB_PORT: "6001" }).url).toContain(":6001/");

  recordRunning(project, { apiUrl: "http://127.0.0.1:6000", dbPort: 6002 });
  expect(chooseTarget({ workdir: root }, {}).url).toContain(":6002/");

  const path = join(root, ".tokenbook/running.json");
  writeFileSync(path, JSON.stringify({ pid: 2 ** 30, apiUrl: "", dbPort: 6003 })); // it has ended
  expect(chooseTarget({ workdir: root }, {}).url).toContain(":5999/");
});

test("another checkout's database is not taken for this one's", () => {
  const { isOwn } = chooseTarget({ workdir: root }, {});

  expect(isOwn!(clusterOf(projectAt(root)))).toBe(true);
  expect(isOwn!(clusterOf(projectAt(tmpdir())))).toBe(false);
  expect(isOwn!("main")).toBe(true); // of Supabase's own stack
});

test("the linked project is reached by the pooler, in a session of one's own", () => {
  const linked = (env: NodeJS.ProcessEnv) => chooseTarget({ linked: true, workdir: root }, env);
  expect(() => linked({ SUPABASE_DB_PASSWORD: "x" })).toThrow("linked to no project");

  writeFileSync(
    join(root, "supabase/.temp/pooler-url"),
    "postgresql://postgres.abc:[YOUR-PASSWORD]@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
  );
  expect(() => linked({})).toThrow("SUPABASE_DB_PASSWORD");
  const target = linked({ SUPABASE_DB_PASSWORD: "p#s", SUPABASE_DB_URL: "postgresql://x:y@z/w" });
  expect(target.url).toBe(
    "postgresql://postgres.abc:p%23s@aws-0-eu-central-1.pooler.supabase.com:5432/postgres",
  );
  expect(target.name).not.toContain("p%23s");
  expect(() => chooseTarget({ linked: true, dbUrl: target.url }, {})).toThrow("Either");
});

test.for([
  ["postgresql://a:b@db.example.com/c", "sslmode=require&uselibpqcompat=true"],
  ["postgresql://a:b@db.example.com/c?sslmode=require", "sslmode=require&uselibpqcompat=true"],
  ["postgresql://a:b@db.example.com/c?sslmode=verify-full", "sslmode=verify-full&uselibpqcompat=true"],
  ["postgresql://a:b@127.0.0.1/c", ""],
])("%s is connected to with %s", ([url, search]) => {
  expect(new URL(asLibpqMeansIt(url!)).search.slice(1)).toBe(search);
});

test("outside of a project it says what is missing", () => {
  expect(() => chooseTarget({ workdir: tmpdir() }, {})).toThrow("no Supabase project");
});
