// @module-tag proof
/** What mysqldump and mariadb-dump write, in the forms that they write it in, read in pieces of any length. */
import { expect, test } from "vitest";
import { dumpRows, type DumpRow } from "../../packages/tokenbook/src/import/mysql-dump.ts";

const tables = {
  users: ["id", "email", "tokens_remaining"],
  user_subscriptions: ["user_id", "tokens_limit"],
};

async function read(text: string, length = text.length, notes: string[] = []): Promise<DumpRow[]> {
  async function* pieces() {
    for (let at = 0; at < text.length; at += length) yield await Promise.resolve(text.slice(at, at + length));
  }
  const rows: DumpRow[] = [];
  for await (const row of dumpRows(pieces(), tables, "dump.sql", notes)) rows.push(row);
  return rows;
}

const create = `CREATE TABLE \`users\` (
  \`id\` int NOT NULL AUTO_INCREMENT COMMENT 'a, (b) ; \`c\`',
  \`e-mail of old\` varchar(255) DEFAULT 'x,y',
  \`email\` varchar(255) CHARACTER SET utf8mb4 NOT NULL,
  \`tokens_remaining\` decimal(10,2) DEFAULT NULL,
  PRIMARY KEY (\`id\`),
  UNIQUE KEY \`email\` (\`email\`),
  KEY \`both\` (\`id\`,\`email\`)
) ENGINE=InnoDB AUTO_INCREMENT=4 DEFAULT CHARSET=utf8mb4
/*!50100 PARTITION BY HASH (id) PARTITIONS 4 */;
`;
const head = `/*M!999999\\- enable the sandbox mode */
-- MariaDB dump 10.19-11.4.2-MariaDB, for debian-linux-gnu (x86_64)
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
`;
const tail = `/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2025-11-20 10:00:00
`;
const whole = `${head}DROP TABLE IF EXISTS \`users\`;
${create}
LOCK TABLES \`users\` WRITE;
/*!40000 ALTER TABLE \`users\` DISABLE KEYS */;
INSERT INTO \`users\` VALUES
(1,'o\\'neil, (x);','a@example.com',-5.50),
-- between
(2, _binary 'two\nlines', 'b''@example.com' ,NULL) ,
/* ; */ (3,NULL,'c@example.com',0x10);
/*!40000 ALTER TABLE \`users\` ENABLE KEYS */;
UNLOCK TABLES;
DELIMITER ;;
CREATE PROCEDURE p() BEGIN INSERT INTO users VALUES (9,'','no@example.com',9); END ;;
DELIMITER ;
${tail}`;
const row = (id: string, old: string | null, email: string, tokens_remaining: string | null) => ({
  table: "users",
  row: { id, "e-mail of old": old, email, tokens_remaining },
});
const rows = [
  row("1", "o'neil, (x);", "a@example.com", "-5.50"),
  row("2", "two\nlines", "b'@example.com", null),
  row("3", null, "c@example.com", "0x10"),
];

test("a dump is read the same in pieces of any length", async () => {
  for (const length of [1, 2, 3, 5, 7, 64, 1_000, whole.length])
    expect(await read(whole, length)).toEqual(rows);
});

test("a dump that is cut off is refused, wherever that was", async () => {
  const last = whole.indexOf("-- Dump completed");
  let refused = 0;
  for (let length = head.length; length < last + 10; length++) {
    await expect(read(whole.slice(0, length), 50), `${length} characters`).rejects.toThrow(
      /is cut off|begins with [-/]/,
    );
    refused++;
  }
  // without comments (--skip-comments) the settings that are put back say it
  const silent = whole.replaceAll(/^--.*\n/gm, "");
  await expect(read(silent.slice(0, silent.indexOf("/*!40101 SET CHARACTER")))).rejects.toThrow("cut off");
  expect(await read(silent)).toEqual(rows);
  console.log(`${refused} places to cut, each refused`);
});

test("a compact dump says of itself that nothing shows whether it is whole; cut inside a statement it is refused", async () => {
  const compact = `${create}INSERT INTO \`users\` VALUES (1,NULL,'a@example.com',5);\n`;
  const notes: string[] = [];
  expect(await read(compact, 10, notes)).toHaveLength(1);
  expect(notes).toEqual([expect.stringContaining("--compact")]);
  for (let length = create.length + 1; length < compact.length - 2; length++)
    await expect(read(compact.slice(0, length))).rejects.toThrow("cut off");
});

test.for([
  ["INSERT  IGNORE INTO `users` VALUES (1,'','a',5);", 1],
  ["REPLACE INTO `users` VALUES (1,'','a',5);", 1],
  ["insert into users (tokens_remaining, ID, email) values (5, 1, 'a'), (6, 2, 'b');", 2],
  ["INSERT INTO `app`.`users` VALUES (1,'','a',5) ON DUPLICATE KEY UPDATE `id` = 1;", 1],
  ["INSERT INTO `users_of_old` VALUES (1,2);", 0],
] as const)("%s: read", async ([statement, count]) => {
  const found = await read(`${create}${statement}`);
  expect(found.map(({ row: { email, tokens_remaining } }) => [email, tokens_remaining])).toEqual(
    [
      ["a", "5"],
      ["b", "6"],
    ].slice(0, count),
  );
});

test.for([
  ["no columns", "INSERT INTO `users` VALUES (1,'a',5);", "--no-create-info"],
  ["too few values", `${create}INSERT INTO \`users\` VALUES (1,'a',5);`, "3 values for 4 columns"],
  ["an empty value", `${create}INSERT INTO \`users\` VALUES (1,,'a',5);`, "an empty value"],
  ["a select", `${create}INSERT INTO \`users\` SELECT * FROM x;`, "no row that can be read"],
  ["a set", `${create}INSERT INTO \`users\` SET id = 1;`, "no row that can be read"],
  [
    "a table without the column",
    "CREATE TABLE users (id int, email text);\nINSERT INTO users VALUES (1,'a');",
    "no column tokens_remaining",
  ],
  [
    "two databases",
    `USE one;${create}INSERT INTO users VALUES (1,'','a',5);USE two;INSERT INTO users VALUES (1,'','a',5);`,
    "two databases",
  ],
] as const)("%s: refused", async ([, text, words]) => {
  await expect(read(text)).rejects.toThrow(words);
});

test("a statement of any length takes a piece of memory", async () => {
  async function* pieces() {
    yield `${create}INSERT INTO \`users\` VALUES (0,'`;
    const blob = "x".repeat(1 << 20);
    for (let nth = 0; nth < 300; nth++) yield await Promise.resolve(blob);
    yield "','a@example.com',1)";
    for (let nth = 1; nth < 2_000; nth++)
      yield Array.from({ length: 100 }, (_, of) => `,(${nth * 100 + of},'','a@example.com',1)`).join("");
    yield ";\n";
  }
  let count = 0;
  let most = 0;
  for await (const _ of dumpRows(pieces(), tables, "dump.sql", [])) {
    if (++count % 1_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed);
  }
  expect(count).toBe(199_901);
  expect(most).toBeLessThan(250 * 2 ** 20);
});
