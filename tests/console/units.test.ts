/** What the values of a broken rule are counted in. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { unitOf, units } from "../../console/src/admin/units.ts";
import { projectRoot } from "../../scripts/project.ts";

test("each rule with a unit is one that verify_token_ledger names", () => {
  const rules = readFileSync(join(projectRoot, "supabase/schemas/90_audit/find_breaches.sql"), "utf8");
  for (const rule of Object.keys(units)) expect(rules).toContain(`select '${rule}'`);
});

test.each([
  ["I2 account = its grants", "250", "tokens"],
  ["I2 account = its grants", "no account", undefined],
  ["I3 total cost", "2.225", "cents"],
  ["I3 transactions are numbered without gaps", "7", undefined],
])("of %s, %j is in %s", (invariant, value, unit) => expect(unitOf(invariant, value)).toBe(unit));
