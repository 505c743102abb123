import pytest

from llmvault.drill.engines.device import describe_cpu, instruction_set, processor_name


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ("fpu sse sse2 sse4_2 avx avx2 avx512f avx512bw", "avx512"),
        ("fpu sse4_2 avx avx2 fma", "avx2"),
        ("avx avx2 avx512f avx512_bf16 amx_tile amx_int8", "amx"),
        ("CPU : SSE3 = 1 | AVX = 1 | AVX2 = 1 | AVX512 = 0 | FMA = 1 | ", "avx2"),
        ("AVX2 = 1 | AVX512 = 1 | AVX512_BF16 = 1", "avx512_bf16"),
        ("AVX512", "avx512"),
        ("fp asimd evtstrm sve", "sve"),
        ("DEFAULT", ""),
        ("", ""),
    ],
)
def test_the_widest_instruction_set_counts(features: str, level: str) -> None:
    assert instruction_set(features) == level


def test_the_processor_is_named_by_its_model() -> None:
    cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 9654 96-Core\nflags\t\t: avx2\n"
    assert processor_name(cpuinfo, "x86_64") == "AMD EPYC 9654 96-Core"


def test_a_processor_without_model_name_is_named_by_its_architecture() -> None:
    assert processor_name("processor\t: 0\nCPU part\t: 0xd0c\n", "aarch64") == "aarch64"


def test_this_processor_is_described() -> None:
    assert describe_cpu().startswith("cpu ")
    assert describe_cpu("imagined").endswith(" imagined")
