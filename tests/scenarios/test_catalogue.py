from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.load import load
from leanrisk.data.read import read_table
from leanrisk.scenarios import catalogue

FILES = {
    "sba_loans/sba_balanced_30000": "sba_loans",
    "sba_loans/sba_first_22427": "sba_loans",
    "taiwan_credit_default/taiwan_credit": "taiwan_credit_default",
    "give_me_some_credit/cs_training": "give_me_some_credit",
    "home_credit/application_train_11873": "home_credit",
    "heloc/heloc": "heloc",
    "german_credit/german_credit": "german_credit",
    "japanese_credit_crx/crx": "japanese_credit_crx",
    "hmeq_home_equity/hmeq": "hmeq_home_equity",
    "loss_given_default/lgd": "loss_given_default",
    "thomas_uk_loans/loan_data": "thomas_uk_loans",
    "lending_club/accepted_2015q4_50000_7col": "lending_club_7_columns",
    "lending_club/accepted_random_2000_151col": "lending_club_151_columns",
    "lending_club/accepted_first_999_151col": "lending_club_151_columns",
    "lending_club/openintro_loans_full_schema": "lending_club_openintro",
    "polish_bankruptcy/year1": "polish_bankruptcy",
    "polish_bankruptcy/year5": "polish_bankruptcy",
    "card_fraud_handbook/transactions": "card_fraud_handbook",
    "ethereum_fraud/transaction_dataset": "ethereum_fraud",
    "aml_amlsim_extension/edges": "aml_transfers",
    "berka_bank/loan": "berka_loans",
    "cfpb_complaints_sample/complaints": "cfpb_complaints",
    "financial_phrasebank/financial_phrasebank": "financial_phrasebank",
}
# The 999 loans of this file were all issued in December 2015, so there is no newer part to test on.
EXPECTED_FAULTS = {"lending_club/accepted_first_999_151col": ["time-one-value"]}


@pytest.mark.parametrize("name", catalogue.schema_names())
def test_every_schema_reads_and_has_features_and_a_target(name: str) -> None:
    schema = catalogue.load_schema(name)
    assert schema.name == name
    assert schema.target is not None
    assert schema.features
    assert schema.description
    assert Schema.from_dict(schema.to_dict()) == schema


@pytest.mark.parametrize("name", catalogue.schema_names())
def test_each_schema_is_matched_by_its_own_columns(name: str) -> None:
    schema = catalogue.load_schema(name)
    assert catalogue.match_schema(schema.by_name) == schema


def test_a_table_of_which_the_schema_knows_little_does_not_match() -> None:
    columns = [*catalogue.load_schema("financial_phrasebank").by_name, *(f"x{place}" for place in range(10))]
    assert catalogue.match_schema(columns) is None


def test_a_missing_column_is_no_match() -> None:
    columns = [name for name in catalogue.load_schema("sba_loans").by_name if name != "Term"]
    assert catalogue.match_schema(columns) is None


def test_what_tells_the_outcome_of_an_sba_loan_is_no_feature() -> None:
    schema = catalogue.load_schema("sba_loans")
    told = {"Term", "ChgOffDate", "ChgOffPrinGr", "DisbursementDate", "DisbursementGross"}
    assert {name for name in told if schema[name].role is Role.EXPOST} == told
    assert not told & set(schema.features)


def test_protected_columns_are_no_features() -> None:
    protected = {
        "taiwan_credit_default": {"SEX", "MARRIAGE"},
        "home_credit": {"CODE_GENDER", "NAME_FAMILY_STATUS"},
        "german_credit": {"personal_status_and_sex", "foreign_worker"},
    }
    for name, columns in protected.items():
        schema = catalogue.load_schema(name)
        assert {column for column in columns if schema[column].role is Role.PROTECTED} == columns


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="sba_loans"):
        catalogue.load_schema("no_such_schema")
    with pytest.raises(ConfigError, match="'no-such-scenario' does not"):
        catalogue.load_scenario("no-such-scenario")


def test_scenarios_load_by_their_names() -> None:
    for name in catalogue.scenario_names():
        assert catalogue.load_scenario(name)


@pytest.mark.parametrize("file", FILES)
def test_a_public_file_is_matched_and_loads_without_fault(file: str, public_data: Path) -> None:
    path = public_data / f"{file}.parquet"
    schema = catalogue.match_schema(pl.read_parquet_schema(path))
    assert schema is not None
    assert schema.name == FILES[file]
    frame = read_table(path)
    faults = [fault.code for fault in check(frame, schema)]
    assert faults == EXPECTED_FAULTS.get(file, [])
    if not faults:
        assert load(frame, schema).rows == frame.height
