import { computed, defineComponent, h, reactive } from "vue";
import performance from "../../../docs/performance.json";
import scale from "../../../docs/scale.json";
import { apps } from "../../calculator/apps.ts";
import type { Scales } from "../../calculator/figures.ts";
import { type Load, needOf, type Way, ways } from "../../calculator/model.ts";
import { bytes, cores, duration, number, steps } from "../../calculator/words.ts";

/** What is asked, in its order, and within which limits. */
const fields: { [name in keyof Load]?: { label: string; min: number; max: number } } = {
  users: { label: "Users", min: 1, max: 1e9 },
  activeUsers: { label: "Users in the busiest hours", min: 1, max: 1e9 },
  callsPerDay: { label: "Spendings a day", min: 1, max: 1e11 },
  readsPerCall: { label: "Balances read for each", min: 0, max: 100 },
  peak: { label: "Busiest hour, times the mean", min: 1, max: 50 },
  years: { label: "Years that are kept", min: 0.1, max: 30 },
};

/** Users and spendings in, machine, disk and next step out: of docs/scale.json and docs/performance.json. */
export const Calculator = defineComponent({
  name: "Calculator",
  setup() {
    const load = reactive<Load>({ ...apps["a known one"] });
    const need = computed(() => needOf(load, scale as unknown as Scales, performance));
    const field = (name: keyof Load, { label, min, max }: { label: string; min: number; max: number }) =>
      h("label", [
        h("span", label),
        h("input", {
          type: "number",
          value: load[name],
          min,
          max,
          step: "any",
          onChange: (event: Event) => {
            const input = event.target as HTMLInputElement;
            // what is no number, or out of all bounds, changes nothing
            if (input.checkValidity() && input.value !== "")
              Object.assign(load, { [name]: input.valueAsNumber });
            input.value = String(load[name]);
          },
        }),
      ]);

    return () => {
      const found: Record<string, string> = {
        "Spendings a second at the peak": number(need.value.peakPerSecond),
        "CPU for one, with its reads": `${number(need.value.cpuUs)} µs`,
        Cores: cores(need.value.cores),
        Memory: bytes(need.value.memory),
        Disk: `${bytes(need.value.disk)}, ${bytes(need.value.diskPerDay)} more a day`,
        "Write-ahead log a day": bytes(need.value.logPerDay),
        "Years in a terabyte": number(need.value.yearsPerTerabyte),
        "A copy of the files": duration(need.value.backUpSeconds),
        "Verifying all books, one process": duration(need.value.verifySeconds),
        "Next step": steps(need.value.steps),
      };
      return h("section", { class: "calculator", "aria-label": "Calculator" }, [
        h("form", { onSubmit: (event: Event) => event.preventDefault() }, [
          ...Object.entries(fields).map(([name, its]) => field(name as keyof Load, its)),
          h("label", [
            h("span", "How tokens are spent"),
            h(
              "select",
              {
                value: load.way,
                onChange: (event: Event) => (load.way = (event.target as HTMLSelectElement).value as Way),
              },
              ways.map((way) => h("option", { value: way, selected: way === load.way }, way)),
            ),
          ]),
        ]),
        h(
          "dl",
          { "aria-live": "polite" },
          Object.entries(found).map(([what, its]) => h("div", [h("dt", what), h("dd", its)])),
        ),
      ]);
    };
  },
});
