import { computed, defineComponent, h, reactive } from "vue";
import performance from "../../../docs/performance.json";
import scale from "../../../docs/scale.json";
import { apps } from "../../calculator/apps.ts";
import type { Scales } from "../../calculator/figures.ts";
import { type Field, fields, readTyped } from "../../calculator/input.ts";
import { needOf, type Way, ways } from "../../calculator/model.ts";
import { after, bytes, duration, number, steps, wayNames } from "../../calculator/words.ts";

const first = apps["a known one"];

/** Users and spendings in, machine, disk and next step out: of docs/scale.json and docs/performance.json. */
export const Calculator = defineComponent({
  name: "Calculator",
  setup() {
    // as it was typed, so that what is wrong stays to be mended
    const typed = reactive(
      Object.fromEntries(Object.keys(fields).map((name) => [name, number(first[name as Field])])) as Record<
        Field,
        string
      >,
    );
    const chosen = reactive<{ way: Way; keyed: boolean }>({ way: first.way, keyed: first.keyed });
    const read = computed(() => readTyped(typed));
    const found = computed(() => {
      const { numbers, messages } = read.value;
      const isRight = Object.keys(messages).length === 0;
      return wordsOf(
        isRight ? needOf({ ...numbers, ...chosen }, scale as unknown as Scales, performance) : undefined,
      );
    });

    const field = (name: Field) => {
      const message = read.value.messages[name];
      const messageId = `calculator-${name}`;
      return h("div", [
        h("label", [
          h("span", fields[name].label),
          h("input", {
            type: "text",
            inputmode: "decimal",
            autocomplete: "off",
            value: typed[name],
            "aria-invalid": message !== undefined,
            "aria-describedby": messageId,
            onInput: (event: Event) => (typed[name] = (event.target as HTMLInputElement).value),
          }),
        ]),
        h("p", { id: messageId, class: "message", role: "status" }, message),
      ]);
    };

    return () =>
      h("section", { class: "calculator", "aria-label": "Calculator" }, [
        h("form", { onSubmit: (event: Event) => event.preventDefault() }, [
          ...(Object.keys(fields) as Field[]).map(field),
          h("label", { class: "way" }, [
            h("span", "How tokens are spent"),
            h(
              "select",
              {
                value: chosen.way,
                onChange: (event: Event) => (chosen.way = (event.target as HTMLSelectElement).value as Way),
              },
              ways.map((way) => h("option", { value: way, selected: way === chosen.way }, wayNames[way])),
            ),
          ]),
          h("label", [
            h("span", "With idempotency keys"),
            h("input", {
              type: "checkbox",
              checked: chosen.keyed,
              onChange: (event: Event) => (chosen.keyed = (event.target as HTMLInputElement).checked),
            }),
          ]),
        ]),
        h(
          "dl",
          { "aria-live": "polite" },
          Object.entries(found.value).map(([what, its]) => h("div", [h("dt", what), h("dd", its)])),
        ),
      ]);
  },
});

/** What is shown; a dash for each as long as something is typed that is no number. */
function wordsOf(need: ReturnType<typeof needOf> | undefined): Record<string, string> {
  const words = (say: (its: NonNullable<typeof need>) => string) =>
    need === undefined ? "–" : say(need).replaceAll(/(\d) (?=\p{L})/gu, "$1\u00a0"); // a number and its unit on one line
  return {
    "Spendings a second at the peak": words((its) => number(its.peakPerSecond)),
    "CPU for one, with its reads": words((its) => `${number(its.cpuUs)} µs`),
    Cores: words((its) => number(its.cores)),
    Memory: words((its) => bytes(its.memory)),
    "Disk at the end": words((its) => bytes(its.disk)),
    "Disk a day": words((its) => bytes(its.diskPerDay)),
    "A terabyte is full": words((its) => after(its.terabyteAfter)),
    "Write-ahead log a day": words((its) => bytes(its.logPerDay)),
    Machines: words((its) => number(its.machines)),
    "A copy of the files": words((its) => duration(its.backUpSeconds)),
    "Verifying all books, one process": words((its) => duration(its.verifySeconds)),
    "Next step": words((its) => steps(its.steps)),
  };
}
