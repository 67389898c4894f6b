/** Of rules whose two values are sums: of what. The other rules' values are words, numbers of entries, or moments. */
export const units: Record<string, "tokens" | "cents"> = {
  "I1 no overspend": "tokens",
  "I2 account = its grants": "tokens",
  "I3 ledger = account": "tokens",
  "I3 balance after each transaction": "tokens",
  "I3 tokens used": "tokens",
  "I3 tokens expired": "tokens",
  "I3 debt": "tokens",
  "I3 total cost": "cents",
  "I3 reserved = open holds": "tokens",
  "I3 reserved = its ledger": "tokens",
  "I3 an overdraft is what was said of it": "tokens",
  "I1 children have no more than was set aside": "tokens",
  "I4 usage = its transaction": "tokens",
  "I4 allocations = transaction": "tokens",
  "I4 a grant is what its history left": "tokens",
  "I9 the balance is never above the plan limit": "tokens",
  "I9 the plan limit is what the ledger made it": "tokens",
};

/** Of a value that a rule expects, or that was found: its unit; undefined where it is no amount. */
export const unitOf = (invariant: string, value: string): "tokens" | "cents" | undefined =>
  /^-?\d+(\.\d+)?$/.test(value) ? units[invariant] : undefined;
