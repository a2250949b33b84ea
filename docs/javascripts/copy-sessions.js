// The buttons of the theme copy all text of a block: of sessions, copy the code without prompts and outputs.
document.addEventListener(
  "click",
  ({ target }) => {
    const button = target.closest('.md-code__button[data-md-type="copy"]');
    const text = button && document.querySelector(button.dataset.clipboardTarget).textContent;
    const lines = text?.split("\n").filter((line) => /^(>>>|\.\.\.)( |$)/.test(line));
    if (lines?.some((line) => line.startsWith(">>>"))) {
      button.dataset.clipboardText = lines.map((line) => line.slice(4)).join("\n");
    }
  },
  true,
);
