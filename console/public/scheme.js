// Before the first paint: the colours that were chosen, else the system's. A file of its own, so that a content security
// policy need not allow scripts within the page.
(() => {
  let chosen;
  try {
    chosen = localStorage.getItem("mantine-color-scheme-value");
  } catch {
    // storage is switched off: as the system
  }
  const isDark =
    chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.mantineColorScheme = isDark ? "dark" : "light";
})();
