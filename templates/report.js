"use strict";
(function () {
  var all = function (selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); };
  all("[data-tools]").forEach(function (tools) { tools.hidden = false; });
  all("[data-fold]").forEach(function (button) {
    button.addEventListener("click", function () {
      all("details", document.getElementById(button.dataset.within) || document).forEach(function (part) {
        part.open = button.dataset.fold === "open";
      });
    });
  });
  all("[data-filter]").forEach(function (form) {
    var place = document.getElementById(form.dataset.filter), rows = all("[data-words]", place);
    var fields = all("input, select", form), said = form.querySelector("[data-said]");
    var show = function () {
      var shown = 0;
      rows.forEach(function (row) {
        var fits = fields.every(function (field) {
          var asked = field.value.trim().toLowerCase();
          if (!asked) { return true; }
          return field.type === "search" ? row.textContent.toLowerCase().indexOf(asked) !== -1 : row.dataset.words.split(" ").indexOf(asked) !== -1;
        });
        row.hidden = !fits;
        shown += fits ? 1 : 0;
      });
      all("details", place).forEach(function (part) {
        part.hidden = all("[data-words]", part).length > 0 && all("[data-words]:not([hidden])", part).length === 0;
      });
      said.textContent = said.dataset.said.replace("#", shown).replace("#", rows.length);
    };
    fields.forEach(function (field) { field.addEventListener("input", show); });
    show();
  });
  var folded = [];
  window.addEventListener("beforeprint", function () {
    folded = all("details:not([open])");
    folded.forEach(function (part) { part.open = true; });
  });
  window.addEventListener("afterprint", function () { folded.forEach(function (part) { part.open = false; }); });
})();
