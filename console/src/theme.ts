/** How everything looks: one type scale, one spacing scale, one accent. Pages take their sizes and colours from here. */
import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

/** The accent: white on shade 7, shade 7 on white, and shade 4 on the dark ground all pass 4.5 : 1. */
const book: MantineColorsTuple = [
  "#eefbf8",
  "#d3f3ec",
  "#a6e5d8",
  "#71d2c1",
  "#3fbba7",
  "#1f9f8c",
  "#128272",
  "#0f6b5f",
  "#10554d",
  "#0f4640",
];

export const theme = createTheme({
  colors: { book },
  primaryColor: "book",
  primaryShade: 7,
  cursorType: "pointer",
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSizes: { xs: "0.75rem", sm: "0.875rem", md: "1rem", lg: "1.25rem", xl: "2.25rem" },
  lineHeights: { xs: "1.35", sm: "1.45", md: "1.5", lg: "1.4", xl: "1.15" },
  spacing: { xs: "0.5rem", sm: "0.75rem", md: "1rem", lg: "1.5rem", xl: "2rem" },
  headings: {
    fontWeight: "600",
    sizes: {
      h1: { fontSize: "1.25rem", lineHeight: "1.4" },
      h2: { fontSize: "1rem", lineHeight: "1.5" },
      h3: { fontSize: "0.875rem", lineHeight: "1.45" },
    },
  },
  defaultRadius: "sm",
  respectReducedMotion: true,
});

/** Colours that stand beside one another: of the grants in the order of spending, of the series of a chart. */
const listed = (name: string, colours: string[]) =>
  Object.fromEntries(colours.map((colour, n) => [`--${name}-${n}`, colour]));

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#ffffff",
    "--mantine-color-text": "#1b1f23",
    "--mantine-color-dimmed": "#59636e",
    "--mantine-color-error": "#b42318",
    "--mantine-color-placeholder": "#6b7580",
    "--accent": "#0f6b5f",
    "--ground": "#f6f7f8",
    "--line": "#e1e4e8",
    "--quiet": "#eef0f2",
    ...listed("burn", ["#0f6b5f", "#2f9c8b", "#6bbcae", "#a3d6cd", "#cfe6e1"]),
    ...listed("series", ["#0f6b5f", "#5b7fb5", "#c08a2e", "#8a6fa8", "#9aa3ab"]),
  },
  dark: {
    "--mantine-color-body": "#1a1d20",
    "--mantine-color-text": "#e6e8ea",
    "--mantine-color-dimmed": "#a0a8b0",
    "--mantine-color-error": "#ff8a80",
    "--mantine-color-placeholder": "#8d959d",
    "--mantine-color-anchor": "#3fbba7",
    "--accent": "#3fbba7",
    "--ground": "#121416",
    "--line": "#2d3236",
    "--quiet": "#24282c",
    ...listed("burn", ["#3fbba7", "#2b8c7d", "#226c61", "#1c544c", "#234641"]),
    ...listed("series", ["#3fbba7", "#7ea3d8", "#d6a651", "#ab91c9", "#6d767e"]),
  },
});
